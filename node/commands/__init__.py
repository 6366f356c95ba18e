"""What each `overread` command does; ``node.cli`` declares them and imports one when it is called."""
