"""What planted canaries prove about a private training's epsilon, at the least."""
