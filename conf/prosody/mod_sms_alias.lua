-- Lets users text a number as +12025550123@<their own domain> (or 0012025550123@): stanzas for such
-- an address go to the gateway component, whose answers come from its own domain.
--
-- Options, in the VirtualHost:
--   sms_alias_component = "sms.example.org"   the gateway; required
--   sms_alias_prefixes = { "+", "00" }        what stands before the digits; the latter is read as +
--
-- Accounts that exist win over numbers.  Messages, subscriptions and iqs are handed on alike; the
-- stanza is copied, so archives and copies to other devices keep the address that the user typed.

local jid_split, jid_join = require "util.jid".split, require "util.jid".join;
local st = require "util.stanza";
local user_exists = require "core.usermanager".user_exists;

local component = module:get_option_string("sms_alias_component");
local prefixes = module:get_option_array("sms_alias_prefixes", { "+", "00" });

if not component then
	error("sms_alias_component is not set: name the gateway component, such as \"sms.example.org\"", 0);
end

-- A number has 7 to 15 digits (E.164) and does not begin with 0; nothing else is touched.
local function number_in(node)
	for _, prefix in ipairs(prefixes) do
		if node:sub(1, #prefix) == prefix then
			local digits = node:sub(#prefix + 1);
			if #digits >= 7 and #digits <= 15 and digits:match("^[1-9]%d*$") then
				return "+" .. digits;
			end
		end
	end
end

local function hand_on(event)
	local origin, stanza = event.origin, event.stanza;
	-- Only our own users may use the short form: strangers have no business with the alias.
	if origin.type ~= "c2s" then return; end
	local node, host, resource = jid_split(stanza.attr.to);
	if not node or host ~= module.host then return; end
	local number = number_in(node);
	if not number or user_exists(node, host) then return; end
	local copy = st.clone(stanza);
	copy.attr.to = jid_join(number, component, resource);
	module:send(copy, origin);
	return true;
end

-- Subscriptions are looked at on their way out: otherwise the server would answer for an account
-- that does not exist.
for _, name in ipairs { "message/bare", "message/full", "iq/bare", "iq/full", "presence/bare", "presence/full" } do
	module:hook(name, hand_on, 10);
end
