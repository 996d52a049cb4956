-- Secrets of services: who deploys sees their names and lets services use them, who runs services sets them; only admins see values.
update role set permissions = permissions || array['secrets:read', 'secrets:use']
where built_in and name in ('manager', 'operator', 'developer') and not 'secrets:use' = any(permissions);
update role set permissions = array_append(permissions, 'secrets:write')
where built_in and name = 'operator' and not 'secrets:write' = any(permissions);
