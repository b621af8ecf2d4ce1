"""What is wrong with a daemon, for operators: findings, their wording, and the documents. Pure."""
