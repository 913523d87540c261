"""Speed of mdnjax beside other ways to do the same work, measured in one run."""
