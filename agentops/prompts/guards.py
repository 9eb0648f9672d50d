"""Triggers that refuse to change a version of a prompt, on both databases."""

POSTGRESQL = (
    """create function prompt_refuse_change() returns trigger language plpgsql as $$
    begin
        raise insufficient_privilege using message = 'update on prompts_prompt refused: versions do not change';
    end $$""",
    """create trigger prompt_no_update before update on prompts_prompt
    for each row execute function prompt_refuse_change()""",
)
POSTGRESQL_DROP = ("drop trigger prompt_no_update on prompts_prompt", "drop function prompt_refuse_change()")
SQLITE = (
    """create trigger prompt_no_update before update on prompts_prompt
    begin select raise(abort, 'update on prompts_prompt refused: versions do not change'); end""",
)
SQLITE_DROP = ("drop trigger prompt_no_update",)
