"""Every public function of a mixture against an independent answer."""
