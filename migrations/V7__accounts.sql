-- Who may sign in, and the sessions that stand. Tokens of other issuers need no row here.
create table accounts (
    account_id uuid        primary key,
    username   text        not null,
    email      text        not null,
    -- PHC string of argon2id, with its own parameters and salt.
    password   text        not null,
    role       text        not null,
    created_at timestamptz not null default now(),
    constraint accounts_role_check check (role in ('customer', 'merchant', 'admin'))
);
create unique index accounts_username_key on accounts (lower(username));
create unique index accounts_email_key on accounts (lower(email));

-- A session: one login, and all refresh tokens that came of it. Ending it ends them all.
create table sessions (
    session_id uuid        primary key,
    account_id uuid        not null references accounts,
    ended_at   timestamptz,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
);
create index sessions_by_account on sessions (account_id, expires_at);

-- Only hashes: who reads this table can refresh nothing.
create table refresh_tokens (
    token_hash bytea       primary key,
    session_id uuid        not null references sessions on delete cascade,
    spent_at   timestamptz,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
);
create index refresh_tokens_by_session on refresh_tokens (session_id);

-- Spends a refresh token for the next one. One that was spent before ends its session, because somebody has a copy.
-- The session's row is locked first, so that of two uses at once one comes second and is seen to be.
create function refresh_spend(p_spent bytea, p_next bytea, p_expires timestamptz)
returns setof accounts language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    session sessions;
    token   refresh_tokens;
begin
    select s.* into session from sessions s
     where s.session_id = (select t.session_id from refresh_tokens t where t.token_hash = p_spent) for update;
    if session.session_id is null or session.ended_at is not null then
        return;
    end if;
    select * into token from refresh_tokens t where t.token_hash = p_spent;
    if token.spent_at is not null then
        update sessions s set ended_at = now() where s.session_id = session.session_id;
        return;
    end if;
    if token.expires_at <= now() then
        return;
    end if;
    update refresh_tokens t set spent_at = now() where t.token_hash = p_spent;
    insert into refresh_tokens (token_hash, session_id, expires_at) values (p_next, session.session_id, p_expires);
    update sessions s set expires_at = p_expires where s.session_id = session.session_id;
    return query select * from accounts a where a.account_id = session.account_id;
end $$;
