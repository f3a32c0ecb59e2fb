"""The dashboard: pages about pushes, devices and conditions, for people who operate Carillon."""
