-- What every script begins with. A script sees one bucket: all its keys have the bucket's hash tag,
-- so they are in one slot and on one server. Each key that a script may touch is declared.
--
-- KEYS[1]  hash    state: after which time this server knows what was spent, its epoch; for each
--                  project what `settle.lua` says
-- KEYS[2]  hash    revocations: name -> (before, ends)
--
-- ARGV[1]  which server this is, or '' where a restart is not to be noticed
-- ARGV[2]  packed: 1 where the question was asked before and the answer may have been lost, else 0;
--          16 random bytes of this question, a new epoch takes them; now, Unix seconds, by the
--          caller's clock, never the server's; more may follow (ASKED is where it begins)
--          One argument, because each costs Redis and Lua more than to unpack it.
--
-- Times are doubles. Redis truncates numbers that a script returns: such a time is packed, or the
-- text that came. The order of the answers is that of `rpcguard.owed.Verdict`.

local OK, REVOKED, REPLAYED, FORGOTTEN, UNKNOWN, SUBJECT_FULL, PROJECT_FULL = 0, 1, 2, 3, 4, 5, 6
local STATE, REVOCATIONS = KEYS[1], KEYS[2]
local SERVER = ARGV[1]
local again, RANDOM, NOW, ASKED = struct.unpack('<Bc16d', ARGV[2])
local AGAIN = again == 1
