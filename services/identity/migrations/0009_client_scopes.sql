-- What an application may ask people for beside who they are; null, as those have that were registered before: everything.
alter table client add column scopes text[];
