-- An environment can be removed: its slot is given to another one. Addresses of its services wait for its return, and are given
-- to others only when there are no new ones left.
alter table address drop constraint if exists address_environment_fkey;
