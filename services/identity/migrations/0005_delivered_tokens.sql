-- When a refresh token's answer had left: null, it has not, and the token before it is good as long as it is null.
-- What the release before writes counts as delivered.
alter table oidc_artifact add column delivered_at timestamptz default clock_timestamp();
