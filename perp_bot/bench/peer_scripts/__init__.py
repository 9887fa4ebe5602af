"""Scripts that run peers, each started by file name in the environment of its peer, where nothing of ours is."""
