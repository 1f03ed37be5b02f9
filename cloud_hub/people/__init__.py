"""Who belongs to an organisation, as what, and how somebody comes to: roles, members, invitations."""
