"""The one pure path from market view to intent."""
