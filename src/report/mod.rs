//! Shows records and verdicts: computes nothing, takes its writer as a parameter.
