-- How many operations of a principal have not ended: nobody may have very many of them.
create index operation_unfinished on operation (principal) where state in ('pending', 'running');
