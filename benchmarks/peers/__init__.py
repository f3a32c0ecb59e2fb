"""What Carillon is measured against."""
