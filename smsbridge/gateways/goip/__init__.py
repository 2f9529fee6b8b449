"""GoIP GSM gateways (DBL, Hybertone): the vendor's "SMS Server" protocol over UDP."""
