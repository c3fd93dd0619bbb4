"""Everything that Saltern decides: pure functions and frozen values, without Salt."""
