"""What each pane shows: pure functions from the view state to rows of styled text."""
