# After the last iteration: what is made differs with the job, as `finished_files` says.
rule postprocess:
    input:
        last_state,
    output:
        expand("<run>/{{body}}{file}", file=FINISHED_EACH),
        summary=report(
            "<run>/{body}summary.json",
            caption="../report/summary.rst",
            category="Results",
        ),
    log:
        "<run>/logs/{body}postprocess.log",
    benchmark:
        "<run>/benchmarks/{body}postprocess.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    threads: RUN_CONFIG.compute.threads_per_worker
    resources:
        mem_mb=memory_of_maps_mb,
        runtime=120,
    params:
        run=folder_of_body,
        settings=RUN_CONFIG.postprocess.model_dump(mode="json"),
        truth=RUN_CONFIG.truth and RUN_CONFIG.truth.model_dump(mode="json"),
    shell:
        "blush postprocess {params.run:q} > {log:q} 2>&1"


rule report:
    input:
        "<run>/{body}summary.json",
    output:
        report(
            "<run>/{body}report.html",
            caption="../report/report.rst",
            category="Results",
        ),
    log:
        "<run>/logs/{body}report.log",
    benchmark:
        "<run>/benchmarks/{body}report.tsv"
    wildcard_constraints:
        body=r"(?:body\d{3}/)?" if RUN_CONFIG.job == "multibody" else r"(?:)",
    retries: 1
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        run=folder_of_body,
    shell:
        "blush report {params.run:q} > {log:q} 2>&1"
