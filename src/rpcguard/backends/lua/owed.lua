-- What one request owes, for `usual.lua` and `settle.lua`.
--
-- KEYS[3]  zset    nonces of the project: subject and name -> deadline; and for a little while the
--                  random bytes of each question that was answered with OK -> its end less MARKS
-- KEYS[4]  hash    live nonces by subject
--                  (both only where there is a nonce)
--
-- ARGV[2]  goes on: when the proof was made; deadline of the nonce, whole seconds, or 0 where the
--          proof has ended; until when the question may be asked again; whether there is a nonce;
--          how many of the last arguments are about a record; live nonces that the subject may hold,
--          and the project in this bucket; project (8 bytes). Zeros where there is no nonce.
-- ARGV[3]  subject (8 bytes) and name of the nonce      (only where there is a nonce)
-- and so on: names that may be revoked
-- and at the end: name of the record that must be there, and its slot where that is given
--
-- The project's field of the state holds, packed: through which deadline nonces are forgotten, through
-- which there were any, and for which the keys last.

local MADE, DEADLINE, ASKED_UNTIL, SPENDS, SHOWN, SUBJECT_LIMIT, PROJECT_LIMIT, PROJECT =
  struct.unpack('<dddBBddc8', ARGV[2], ASKED)
local FIRST, LAST = 3 + SPENDS, #ARGV - SHOWN -- the names that may be revoked
local NONCES, LIVE, MEMBER = KEYS[3], KEYS[4], ARGV[3]
local PRUNE_EVERY = 32 -- entries; each question adds two
local MARKS = 1e13 -- so marks are below 0, and nonces above
