# After the last iteration: what is made differs with the job, as `finished_files` says.
rule postprocess:
    input:
        last_state,
    output:
        expand("<run>/{file}", file=FINISHED),
        summary=report(
            "<run>/summary.json", caption="../report/summary.rst", category="Results"
        ),
    log:
        "<run>/logs/postprocess.log",
    benchmark:
        "<run>/benchmarks/postprocess.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    threads: RUN_CONFIG.compute.threads_per_worker
    resources:
        mem_mb=memory_of_maps_mb,
        runtime=120,
    params:
        run=RUN_CONFIG.run_dir,
        settings=RUN_CONFIG.postprocess.model_dump(mode="json"),
        truth=RUN_CONFIG.truth and RUN_CONFIG.truth.model_dump(mode="json"),
    shell:
        "blush postprocess {params.run:q} > {log:q} 2>&1"


rule report:
    input:
        "<run>/summary.json",
    output:
        report("<run>/report.html", caption="../report/report.rst", category="Results"),
    log:
        "<run>/logs/report.log",
    benchmark:
        "<run>/benchmarks/report.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        run=RUN_CONFIG.run_dir,
    shell:
        "blush report {params.run:q} > {log:q} 2>&1"
