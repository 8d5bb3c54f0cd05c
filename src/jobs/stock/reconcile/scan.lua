-- The next keys that match the pattern ARGV[2] after the position ARGV[1]: a bounded step through all keys of the database.
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
