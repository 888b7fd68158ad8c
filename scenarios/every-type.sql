-- A table with a column of every type that rows are made for, and of every kind of constraint.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0) NOT NULL;
CREATE DOMAIN code AS varchar(8) CHECK (length(VALUE) >= 4);

CREATE TABLE every_type (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    small smallint CHECK (small BETWEEN -5 AND 5),
    whole integer NOT NULL,
    big bigint UNIQUE,
    price numeric(10, 2) CHECK (price > 0 AND price <= 999.99),
    thousands numeric(12, 0),
    any_number numeric,
    single real,
    share double precision CHECK (share >= 0 AND share < 1),
    flag boolean NOT NULL,
    name text CHECK (char_length(name) <= 20),
    short varchar(12) UNIQUE,
    fixed char(6),
    letter char,
    label name,
    data bytea,
    day date CHECK (day >= '2024-01-01'),
    at_time time,
    at_second time(0),
    zoned_time timetz,
    local_time timestamp(3),
    moment timestamptz NOT NULL,
    span interval,
    span_years interval year to month,
    uid uuid UNIQUE,
    document json,
    document_b jsonb,
    address inet,
    network cidr,
    mac macaddr,
    mac8 macaddr8,
    bits bit(11),
    more_bits varbit,
    feeling mood,
    status text CHECK (status IN ('new', 'paid', 'sent')),
    amount positive,
    ticket code,
    numbers integer[],
    words varchar(10)[],
    moods mood[],
    amounts positive[],
    times timestamptz[],
    documents jsonb[],
    from_to int4range,
    from_to_big int8range,
    from_to_number numrange,
    days daterange,
    hours tsrange,
    moments tstzrange,
    created timestamptz NOT NULL DEFAULT now(),
    total numeric GENERATED ALWAYS AS (price * 2) STORED,
    touched integer,
    UNIQUE (flag, small, feeling, whole)
);

CREATE INDEX ON every_type (day, feeling);

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.touched := coalesce(NEW.touched, 0) + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER touch BEFORE INSERT ON every_type FOR EACH ROW EXECUTE FUNCTION touch();
