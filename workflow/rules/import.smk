# Input is checked and frozen once. What follows does not look at these files' times: an import that would change a
# refinement under way is refused by `blush import`, and any other changes nothing.
rule import_particles:
    input:
        **input_files(RUN_CONFIG),
    output:
        multiext(
            "<run>/import/",
            plan="plan.npz",
            particles="particles.npz",
            star="particles.star",
        ),
        reference="<run>/import/reference.mrc",
    log:
        "<run>/logs/import.log",
    benchmark:
        "<run>/benchmarks/import.tsv"
    conda:
        "../../envs/blush.yaml"
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda wildcards: f"{RUN_CONFIG.run_dir}/settings.json",
        decisive=decisive_settings(RUN_CONFIG),
    shell:
        "blush import {params.settings:q} > {log:q} 2>&1"


rule start:
    input:
        ancient("<run>/import/plan.npz"),
        ancient("<run>/import/particles.npz"),
        ancient("<run>/import/reference.mrc"),
    output:
        multiext("<run>/it000/", state="state.json", poses="poses.npz"),
    log:
        "<run>/logs/start.log",
    benchmark:
        "<run>/benchmarks/start.tsv"
    retries: 2
    conda:
        "../../envs/blush.yaml"
    threads: pool_threads()
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        run=RUN_CONFIG.run_dir,
    shell:
        "blush start {params.run:q} > {log:q} 2>&1"
