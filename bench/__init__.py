"""What a task costs, how fast tasks go and what grows with what; side by side with baselines."""
