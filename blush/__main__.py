"""`python -m blush`: the command line; the workflow has its steps die with it."""

from blush.cluster.parent import die_with_parent

die_with_parent()

from blush.cli.main import main  # noqa: E402

main()
