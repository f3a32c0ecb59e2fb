-- Seconds to wait after the `n`th refusal in a row, as `backoff` in core/backoff.py, but `least` at least.
local function grown(n, least, first, growth, longest, jitter)
  local whole = math.min(longest, first * growth ^ math.min(math.max(n, 1) - 1, 20))
  return math.max(least, whole * (0.5 + jitter / 2))
end
