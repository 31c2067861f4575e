#!/bin/sh
# Runs once per release, before traffic moves; if it fails, the release before serves on.
echo "preparing (a database's migrations would stand here)"
