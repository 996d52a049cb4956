-- Runs (hms.automation.v1): everybody with a role sees them, who deploys starts and stops them, who answers for them decides.
update role set permissions = permissions || array['runs:read'] where built_in and name in ('manager', 'operator', 'developer', 'viewer');
update role set permissions = permissions || array['runs:start', 'runs:control', 'runs:logs']
where built_in and name in ('manager', 'operator', 'developer');
update role set permissions = permissions || array['runs:decide'] where built_in and name in ('manager', 'operator');
