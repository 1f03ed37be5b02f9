"""From due instants to stored scans."""
