"""The audit trail says more of each deed, and is a chain of hashes."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE audit_events ADD COLUMN user_id bigint;
ALTER TABLE audit_events ADD COLUMN on_behalf_of text;
ALTER TABLE audit_events ADD COLUMN address text;
ALTER TABLE audit_events ADD COLUMN request_id text;
ALTER TABLE audit_events ADD COLUMN number bigint;
ALTER TABLE audit_events ADD COLUMN hash bytea;

CREATE TABLE audit_heads (
    organisation_id bigint PRIMARY KEY REFERENCES organisations,
    number bigint NOT NULL,
    hash bytea NOT NULL,
    first_number bigint NOT NULL DEFAULT 1,
    before_first bytea NOT NULL DEFAULT '\\x'
);
"""

# As audit_digest() of cloud_hub.audit.chain makes it.
_CHAIN = """
DO $$
DECLARE
    e record;
    place bigint;
    previous bytea;
BEGIN
    FOR e IN SELECT * FROM audit_events ORDER BY organisation_id, id LOOP
        INSERT INTO audit_heads (organisation_id, number, hash) VALUES (e.organisation_id, 0, '') ON CONFLICT DO NOTHING;
        SELECT number + 1, hash INTO place, previous FROM audit_heads WHERE organisation_id = e.organisation_id;
        previous := sha256(previous || convert_to(jsonb_build_array(
            e.organisation_id, place, extract(epoch FROM e.at), e.who, e.user_id, e.on_behalf_of, e.action, e.subject,
            e.detail, e.address, e.request_id)::text, 'UTF8'));
        UPDATE audit_events SET number = place, hash = previous WHERE id = e.id;
        UPDATE audit_heads SET number = place, hash = previous WHERE organisation_id = e.organisation_id;
    END LOOP;
END $$;
ALTER TABLE audit_events ALTER COLUMN number SET NOT NULL;
ALTER TABLE audit_events ALTER COLUMN hash SET NOT NULL;
CREATE UNIQUE INDEX audit_events_organisation_id_number_idx ON audit_events (organisation_id, number);
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_CHAIN)
