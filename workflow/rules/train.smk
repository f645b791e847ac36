# A training: half-maps are fetched, judged, prepared; a network is trained, evaluated, exported. Only the steps that the
# sources of the configuration need are run. What must survive an interruption - downloads, prepared maps, the
# checkpoint - is not declared: Snakemake removes what is. Files that the user gave are no inputs to Snakemake, which
# would go by their times: their content is a parameter.
from blush.jobs import training
from blush.jobs.settings import write_settings

RUN_CONFIG = checked_config(load_training)


pathvars:
    run=str(RUN_CONFIG.run_dir),


include: "stopping.smk"


onstart:
    try:
        hold_run(RUN_CONFIG.run_dir)
    except BlushError as error:
        raise SystemExit(f"blush: {error}") from None
    # What the steps read: the file that was given, with what --config changed in it.
    write_settings(settings_file(), RUN_CONFIG)
    begin_listening()


onerror:
    say(
        f"{end_listening()}the same command continues this training; logs: {RUN_CONFIG.run_dir}/logs"
    )


localrules:
    train,


rule fetch:
    output:
        "<run>/download/manifest.tsv",
    log:
        "<run>/logs/fetch.log",
    benchmark:
        "<run>/benchmarks/fetch.tsv"
    retries: 2
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=2000,
        runtime=2880,
    params:
        settings=settings_file(),
        emdb=RUN_CONFIG.sources.emdb.model_dump(mode="json"),
    shell:
        "blush train-fetch {params.settings:q} > {log:q} 2>&1"


rule curate:
    input:
        branch(RUN_CONFIG.sources.emdb.enabled, "<run>/download/manifest.tsv", []),
    output:
        multiext("<run>/curation/", "curated.tsv", "curation.html"),
    log:
        "<run>/logs/curate.log",
    benchmark:
        "<run>/benchmarks/curate.tsv"
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        settings=settings_file(),
        decisive=decisive("curate"),
        content=lambda wildcards: content_of(
            RUN_CONFIG.sources.folder.pairs, RUN_CONFIG.curate.decisions
        ),
    shell:
        "blush train-curate {params.settings:q} > {log:q} 2>&1"


rule prepare:
    input:
        branch(training.has_pairs(RUN_CONFIG), "<run>/curation/curated.tsv", []),
    output:
        "<run>/maps/index.json",
    log:
        "<run>/logs/prepare.log",
    benchmark:
        "<run>/benchmarks/prepare.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        settings=settings_file(),
        decisive=decisive("sources", "evaluate"),
        content=lambda wildcards: content_of(
            RUN_CONFIG.sources.simulated.models, RUN_CONFIG.held_out
        ),
    shell:
        "blush train-prepare {params.settings:q} > {log:q} 2>&1"


rule fit:
    input:
        "<run>/maps/index.json",
    output:
        report("<run>/fit/fit.html", caption="../report/fit.rst", category="Training"),
    log:
        "<run>/logs/fit.log",
    benchmark:
        "<run>/benchmarks/fit.tsv"
    retries: 2
    conda:
        "../envs/blush.yaml"
    threads: RUN_CONFIG.fit.processes + RUN_CONFIG.fit.loaders
    resources:
        mem_mb=16000,
        runtime=10080,
        gpu=0 if RUN_CONFIG.fit.device == "cpu" else RUN_CONFIG.fit.gpus,
    params:
        settings=settings_file(),
        decisive=decisive("fit"),
    shell:
        "blush train-fit {params.settings:q} > {log:q} 2>&1"


rule evaluate:
    input:
        "<run>/fit/fit.html",
    output:
        "<run>/evaluation/evaluation.json",
        report(
            "<run>/evaluation/evaluation.html",
            caption="../report/evaluation.rst",
            category="Training",
        ),
    log:
        "<run>/logs/evaluate.log",
    benchmark:
        "<run>/benchmarks/evaluate.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        settings=settings_file(),
        decisive=decisive("evaluate"),
    shell:
        "blush train-evaluate {params.settings:q} > {log:q} 2>&1"


rule export:
    input:
        "<run>/fit/fit.html",
        "<run>/evaluation/evaluation.json",
    output:
        "<run>/export/manifest.json",
        report(
            "<run>/export/MODEL_CARD.md",
            caption="../report/model_card.rst",
            category="Training",
        ),
        ["<run>/export/emdb_manifest.tsv"] if RUN_CONFIG.sources.emdb.enabled else [],
    log:
        "<run>/logs/export.log",
    benchmark:
        "<run>/benchmarks/export.tsv"
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=settings_file(),
        decisive=decisive("licence", "export_half"),
    shell:
        "blush train-export {params.settings:q} > {log:q} 2>&1"
