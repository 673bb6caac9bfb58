"""The paper's figures and tables on nets and pictures at hand: ``zfkeras reproduce``."""
