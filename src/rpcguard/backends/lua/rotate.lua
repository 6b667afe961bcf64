-- Put a record in the place of another one, if that is there.
--
-- ARGV[5]  name of the one that must be there
-- ARGV[6]  and so on: the record

return once(function()
  local record = asked(6)
  local verdict, value = standing(ARGV[5], SLOT)
  if verdict ~= OK then
    return verdict, value
  end
  prune(STEP)
  if is_taken(record) then
    return TAKEN
  end
  replace(record)
  return OK, value
end)
