# Input is checked and frozen once. Snakemake is not told of the files that the user gave: it would go by their times,
# and remove the import of a run under way where one was touched or is dated in the future. Their content decides,
# here and in `make_ready`, which refuses what would change a refinement that has started.
# `update` keeps Snakemake from removing what is there before a job, or after one that failed.
rule import_particles:
    output:
        plan=update("<run>/import/plan.npz"),
        particles=update("<run>/import/particles.npz"),
        star=update("<run>/import/particles.star"),
        reference=update("<run>/import/reference.mrc"),
        bodies=update(imported_of_bodies()),
    log:
        "<run>/logs/import.log",
    benchmark:
        "<run>/benchmarks/import.tsv"
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda wildcards: f"{RUN_CONFIG.run_dir}/settings.json",
        decisive=decisive_settings(RUN_CONFIG),
        content=lambda wildcards: content_of(*input_files(RUN_CONFIG).values()),
    shell:
        "blush import {params.settings:q} > {log:q} 2>&1"


rule start:
    input:
        ancient("<run>/{body}import/plan.npz"),
        ancient("<run>/{body}import/particles.npz"),
        ancient("<run>/{body}import/reference.mrc"),
    output:
        state=update("<run>/{body}it000/state.json"),
        poses=update("<run>/{body}it000/poses.npz"),
    log:
        "<run>/logs/{body}start.log",
    benchmark:
        "<run>/benchmarks/{body}start.tsv"
    retries: 2
    conda:
        "../envs/blush.yaml"
    threads: pool_threads()
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        run=folder_of_body,
    shell:
        "blush start {params.run:q} > {log:q} 2>&1"
