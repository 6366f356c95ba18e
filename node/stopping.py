"""What ends work that is under way when the node stops."""


class Stopping(BaseException):
    """The node stops: what is under way is no failure, and is taken up again by the next start. No Exception,
    so that nobody takes it for a fault of what was being read."""
