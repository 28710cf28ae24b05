"""Data made by us or shipped with installed packages, for the mini and instant configs; nothing else imports them."""
