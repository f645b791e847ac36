# The workflow of a clone, at its top: `snakemake --profile local --configfile my.yaml`. It is workflow/Snakefile, which
# the installed package carries too (`blush run my.yaml`, from any folder).
include: "workflow/Snakefile"


# An include leaves the default target of the file that includes.
workflow.default_target = "train" if is_training() else "all"
