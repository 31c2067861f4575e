//! The reference of the command line, made of its help.
