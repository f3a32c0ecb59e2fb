-- How many messages, and how many batches, wait to be taken, of both lanes.
return {waiting('e', 'urgent') + waiting('e', 'bulk'), waiting('b', 'urgent') + waiting('b', 'bulk')}
