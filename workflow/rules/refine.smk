# The loop. An iteration reads the state that the one before it left; `converge`, a checkpoint, leaves the next one.
# Files are `ancient`: whether one is good is said by its seal, which the steps read, never by its time. What must
# survive an interruption is not declared, as the shards' results, or an `update`, which Snakemake does not remove
# before a job: a sum that is made again when its shards are gone costs a whole expectation step.
rule expectation:
    input:
        ancient(previous_state),
        ancient(turn),
        ancient("<run>/{body}import/plan.npz"),
    output:
        temp("<run>/{body}it{n}/{subset}_shards.json"),
    log:
        "<run>/logs/{body}it{n}_expectation_{subset}.log",
    benchmark:
        "<run>/benchmarks/{body}it{n}_expectation_{subset}.tsv"
    retries: 3
    conda:
        "../envs/blush.yaml"
    threads: pool_threads()
    resources:
        mem_mb=1000,
        runtime=1440,
    params:
        run=folder_of_body,
        algorithm=ALGORITHM_VERSION,
    shell:
        "blush expectation {params.run:q} --iteration {wildcards.n} --subset {wildcards.subset} > {log:q} 2>&1"


rule reduce:
    input:
        ancient("<run>/{body}it{n}/{subset}_shards.json"),
    output:
        sums=update(
            expand("<run>/{{body}}it{{n}}/{{subset}}_sums{fold}.npz", fold=FOLDS)
        ),
        statistics=update("<run>/{body}it{n}/{subset}_statistics.npz"),
    log:
        "<run>/logs/{body}it{n}_reduce_{subset}.log",
    benchmark:
        "<run>/benchmarks/{body}it{n}_reduce_{subset}.tsv"
    retries: 3
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        run=folder_of_body,
        algorithm=ALGORITHM_VERSION,
    shell:
        "blush reduce {params.run:q} --iteration {wildcards.n} --subset {wildcards.subset} > {log:q} 2>&1"


rule denoise_and_trail:
    input:
        ancient(
            expand(
                "<run>/{{body}}it{{n}}/{subset}_sums{fold}.npz",
                subset=SUBSETS,
                fold=FOLDS,
            )
        ),
    output:
        spectra=update("<run>/{body}it{n}/maps.npz"),
        diagnostics=update("<run>/{body}it{n}/maps.json"),
    log:
        "<run>/logs/{body}it{n}_denoise_and_trail.log",
    benchmark:
        "<run>/benchmarks/{body}it{n}_denoise_and_trail.tsv"
    retries: 3
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        run=folder_of_body,
        algorithm=ALGORITHM_VERSION,
    shell:
        "blush denoise-and-trail {params.run:q} --iteration {wildcards.n} > {log:q} 2>&1"


checkpoint converge:
    input:
        ancient(previous_state),
        ancient("<run>/{body}it{n}/maps.npz"),
        ancient(expand("<run>/{{body}}it{{n}}/{subset}_statistics.npz", subset=SUBSETS)),
    output:
        state=update("<run>/{body}it{n}/state.json"),
        poses=update("<run>/{body}it{n}/poses.npz"),
    log:
        "<run>/logs/{body}it{n}_converge.log",
    benchmark:
        "<run>/benchmarks/{body}it{n}_converge.tsv"
    retries: 1
    conda:
        "../envs/blush.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        run=folder_of_body,
        algorithm=ALGORITHM_VERSION,
    shell:
        "blush converge {params.run:q} --iteration {wildcards.n} > {log:q} 2>&1"
