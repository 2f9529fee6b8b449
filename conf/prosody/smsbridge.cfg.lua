-- What smsbridge needs in Prosody (0.12 and later).  Copy this file to /etc/prosody/conf.d/, put your
-- own names and secret into it, and run "prosodyctl check config" and "prosodyctl restart".
--
-- Here the server's domain is example.org and the gateway's is sms.example.org.

Component "sms.example.org"
    -- The same as "secret" in [gateway:NAME] of smsbridge.
    component_secret = "change-me"

    -- Do not set "name" here: with it, Prosody answers for the gateway while the gateway is away.

    -- A second smsbridge is refused with "conflict" while the first is connected; leave it so.
    -- component_conflict_resolve = "deny_new"

-- Prosody listens for components on 127.0.0.1:5347 when it has one; to be sure, in the global part:
-- component_ports = { 5347 }
-- component_interfaces = { "127.0.0.1" }
--
-- Debian's configuration limits each client to 10 kB/s, about 60 texts a second, and answers nobody
-- sooner.  Components are not limited.  Where users send much:
-- limits = { c2s = { rate = "100kb/s" } }
--
-- Archives of busy users are slow in Prosody's own files once they hold some ten thousand messages:
-- storage = "sql"

-- Optional: lets users of example.org write to +12025550123@example.org, and hands it to the gateway.
-- Put mod_sms_alias.lua into a folder of plugin_paths, and these lines into the VirtualHost:
--
-- VirtualHost "example.org"
--     modules_enabled = { "sms_alias" }
--     sms_alias_component = "sms.example.org"

-- Optional: with "upload = upload.example.org" in [gateway:NAME] of smsbridge, files from the phone
-- network are put into your upload service.  It must admit the gateway; who is not named is not
-- admitted, so name your users' domain as well:
--
-- Component "upload.example.org" "http_file_share"
--     http_file_share_access = { "example.org", "sms.example.org" }
