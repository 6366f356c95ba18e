"""Who somebody is, and who this node is: certificates on the wire, passwords at the page."""
