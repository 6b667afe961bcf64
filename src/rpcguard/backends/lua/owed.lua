-- What one request owes, for `usual.lua` and `settle.lua`.
--
-- KEYS[3]  zset    nonces of the project: subject and name -> deadline; and for a little while the
--                  random bytes of each question that was answered with OK -> its end less MARKS
-- KEYS[4]  hash    live nonces by subject
--                  (both only where there is a nonce)
--
-- ARGV[3]  packed: now; when the proof was made; deadline of the nonce, whole seconds, or 0 where the
--          proof has ended; until when the question may be asked again; whether there is a nonce;
--          how many of the last arguments are about a record
-- ARGV[5]  subject (8 bytes) and name of the nonce      (these three only where there is a nonce)
-- ARGV[6]  packed: live nonces that the subject may hold, and the project in this bucket
-- ARGV[7]  project
-- and so on: names that may be revoked
-- and at the end: name of the record that must be there, and its slot where that is given
--
-- The field ARGV[7] of the state holds, packed: through which deadline nonces are forgotten, through
-- which there were any, and for which the keys last.

local _, MADE, DEADLINE, ASKED_UNTIL, SPENDS, SHOWN = struct.unpack('<ddddBB', ARGV[3])
local FIRST, LAST = SPENDS == 0 and 5 or 8, #ARGV - SHOWN -- the names that may be revoked
local NONCES, LIVE, MEMBER, PROJECT = KEYS[3], KEYS[4], ARGV[5], ARGV[7]
local PRUNE_EVERY = 32 -- entries; each question adds two
local MARKS = 1e13 -- so marks are below 0, and nonces above
