"""``python3 -m fluxbase_migrations.runner``: the process in the Job's pod."""

from fluxbase_migrations.runner.commands import process

if __name__ == "__main__":
    process.run("fluxbase_migrations.runner.commands.job")
