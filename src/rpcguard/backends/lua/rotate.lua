-- Put a record in the place of another one, if that is there.
--
-- ARGV[7]  name of the one that must be there
-- ARGV[8]  and so on: the record

return once(function()
  local record = asked(8)
  local verdict, value = standing(ARGV[7], SLOT)
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
