# A run of several bodies. The folder of each is that of a refinement, which the rules of one refinement serve by the
# wildcard `body`; `last_states` lets them take turns. Here is what all of them leave together.
rule finish:
    input:
        last_states,
        expand("<run>/{body}summary.json", body=REFINED),
    output:
        expand("<run>/{file}", file=FINISHED),
        summary=report(
            "<run>/summary.json", caption="../report/summary.rst", category="Results"
        ),
    log:
        "<run>/logs/finish.log",
    benchmark:
        "<run>/benchmarks/finish.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    threads: RUN_CONFIG.compute.threads_per_worker
    resources:
        mem_mb=memory_of_maps_mb,
        runtime=120,
    params:
        run=RUN_CONFIG.run_dir,
    shell:
        "blush postprocess {params.run:q} > {log:q} 2>&1"
