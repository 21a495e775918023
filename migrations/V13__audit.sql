-- What people did to the service, and the settings that they change while it runs.

-- Kept for ever: it is only appended to.
create table audit_log (
    audit_id bigint         generated always as identity primary key,
    at       timestamptz(3) not null default now(),
    -- role:sub, as everywhere.
    actor    text           not null,
    -- What was done, e.g. settings.change.
    action   text           not null,
    -- What it was done to: a setting, a product, a reservation, ….
    subject  text           not null,
    -- What was before and after, and the reason if one was given.
    detail   jsonb          not null default '{}'
);
create index audit_log_by_action on audit_log (action, audit_id);
create index audit_log_by_subject on audit_log (subject, audit_id);
create index audit_log_by_actor on audit_log (actor, audit_id);

-- For a statement that changes something: the note stands or falls with the change.
create function note_audit(p_actor text, p_action text, p_subject text, p_detail jsonb)
returns bigint language sql volatile as $$
    insert into audit_log (actor, action, subject, detail) values (p_actor, p_action, p_subject, p_detail)
    returning audit_id;
$$;

-- Settings that were changed while the service runs. They win against files and environment.
create table live_settings (
    name       text           primary key,
    value      jsonb          not null,
    changed_by text           not null,
    changed_at timestamptz(3) not null default now()
);

-- One row. Replicas look at its version several times a second, and read the table above when it has grown.
create table live_settings_state (
    one         boolean     primary key default true,
    version     bigint      not null default 0,
    -- The version whose hold time running holds take too, the one for which they have, and since when somebody is at it.
    holds_asked bigint      not null default 0,
    holds_done  bigint      not null default 0,
    holds_begun timestamptz,
    constraint live_settings_state_one_check check (one)
);
insert into live_settings_state default values;

-- Takes changes: an object of names and values, null for one that is to go. They were checked together with the settings
-- of version `p_seen`; another version now changes nothing and answers null. Details are those of the notes, by name.
create function change_live_settings(
    p_seen bigint, p_changes jsonb, p_holds boolean, p_actor text, p_details jsonb
) returns bigint language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    now_version bigint;
    changed     record;
begin
    select s.version into now_version from live_settings_state s for update;
    if now_version <> p_seen then
        return null;
    end if;
    now_version := now_version + 1;
    for changed in select key, value from jsonb_each(p_changes) order by key loop
        if changed.value = 'null' then
            delete from live_settings l where l.name = changed.key;
        else
            insert into live_settings as l (name, value, changed_by) values (changed.key, changed.value, p_actor)
            on conflict (name) do update set value = excluded.value, changed_by = excluded.changed_by, changed_at = now();
        end if;
        perform note_audit(p_actor, 'settings.change', changed.key,
                           coalesce(p_details -> changed.key, '{}') || jsonb_build_object('version', now_version));
    end loop;
    update live_settings_state s
       set version = now_version,
           holds_asked = case when p_holds then now_version else s.holds_asked end,
           holds_begun = case when p_holds then null else s.holds_begun end;
    return now_version;
end $$;
