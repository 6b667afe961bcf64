-- Note that what is spent from now on will be known, unless that has been noted already.

local _, known = state('known_after')
known_after(known)
refuse_on_a_replica()
return OK
