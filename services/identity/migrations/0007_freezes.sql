-- Who plans and who runs services may stop deploys for a time, and deploy all the same.
update role set permissions = array_append(permissions, 'services:freeze')
  where built_in and name in ('manager', 'operator') and not 'services:freeze' = any(permissions);
